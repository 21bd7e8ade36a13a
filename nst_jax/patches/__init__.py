"""Pictures made of the patches of others: nearest neighbours, quilting and image analogies."""
