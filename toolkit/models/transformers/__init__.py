"""What must be known of transformers and pipelines to run them in stages. Everything here runs in one process."""
