"""Many stylizations at once: `axes` names the lanes, `batches` runs them, `folder` keeps them."""
