"""Reading and writing annotated images, one format a file."""
