"""Starting one process per device, and watching over them."""
