"""What must be known of an autoencoder to decode and encode with it in tiles or shards."""
