//! Service proxy (nftables) and pod network (bridge).
