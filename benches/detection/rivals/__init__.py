"""The rules of others, as their documents or sources state them."""
