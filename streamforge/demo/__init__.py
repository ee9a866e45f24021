"""The demo: a small plant of real servers, a real database, and the whole gateway between them."""
