"""What people look at: previews, and one self-contained page."""
