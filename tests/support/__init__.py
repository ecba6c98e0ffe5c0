"""Markets, genomes and runs that the tests of several rooms share."""
