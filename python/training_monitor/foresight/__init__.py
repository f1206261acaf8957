"""What the points of a recorded run say of how it goes, and how it will end."""
