"""Routes of the study server: the API under `/v1` and the pages under `/ui`."""
