"""Networks, their model cards, and how a model is found, checked, loaded and run."""
