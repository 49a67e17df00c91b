"""The laboratory: data sets, networks and studies of many paired trials (the extra ``regrow[lab]``)."""
