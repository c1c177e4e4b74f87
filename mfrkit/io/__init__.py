"""Files: pictures, manifests, pair lists, embeddings and model files."""
