"""The synthesis engine: from source images to one seamless texture, with no network weights."""
