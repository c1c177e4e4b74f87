"""Numbers from embeddings: how well systems tell people apart, as tables and pages."""
