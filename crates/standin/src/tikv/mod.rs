//! How does the stand-in store keep what it acknowledged?
