"""How findings become alerts, and how these are told."""
