"""What a picture is measured by: terms of the objective, statistics of features, regions, tiles."""
