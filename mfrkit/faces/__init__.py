"""Faces in pictures: finding them, bringing them to one geometry, choosing among them."""
