//! Files that no person writes: each is an error with a place, none is a panic, and none takes long.
