"""The generator of rooms: programs, layout, furniture, cameras, truth."""
