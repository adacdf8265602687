"""The contract between device and host: protocol definitions and what is generated from them."""
