"""What must be known of transformers and pipelines to run them in stages; everything here runs in one process."""
