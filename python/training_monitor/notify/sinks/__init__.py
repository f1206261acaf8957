"""Where alerts are told: one module per kind of receiver."""
