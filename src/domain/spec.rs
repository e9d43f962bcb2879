//! What a container is asked to be.
