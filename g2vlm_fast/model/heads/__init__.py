"""The heads of the model: reconstruction, spatial, grounding and text."""
