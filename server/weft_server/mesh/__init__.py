"""Links with other regions: whom to dial, who may stay, and how they are."""
