"""Files that ship with the package: `weights/` (model files) and `photos/` (portraits)."""
