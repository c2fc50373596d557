"""What leaves the machine: folders with a model, what it was made from, and how good it is."""
