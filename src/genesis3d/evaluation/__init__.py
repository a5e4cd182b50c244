"""How good a result is: figures against a reference, and what differences between methods mean."""
