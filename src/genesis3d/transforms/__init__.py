"""The self-supervised transformations of Models Genesis, one file each."""
