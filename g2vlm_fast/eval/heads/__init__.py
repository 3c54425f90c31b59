"""What each head is judged by: sums of one scene, its chance level beside its value."""
