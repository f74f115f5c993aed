"""The staff's pages, composed from the modules below."""
