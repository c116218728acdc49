"""`make bench`: what the relay costs beside the barest thing that could do its job."""
