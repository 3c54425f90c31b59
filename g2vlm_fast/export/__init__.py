"""What leaves the package: fused volumes, meshes, clouds and their files."""
