"""The shopper's pages and the public catalogue of the JSON API, composed from the modules below."""
