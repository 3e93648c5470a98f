"""What must be known of autoencoder classes to run them in tiles or on shards; everything here runs in one process."""
