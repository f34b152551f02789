"""Named like a folder of the server on purpose: a project may have its own `libs`."""
