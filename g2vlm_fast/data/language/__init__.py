"""What is said and asked about scenes, with answers that their truth proves."""
