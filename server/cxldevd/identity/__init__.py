"""Who calls, and what they may do: certificates, tokens, and the gate that every call passes."""
