"""Films drawn without flicker: what moves between frames, results carried along, and measures.

Frames are RGB in [0, 1]. What is drawn of one frame is carried to the next by the motion of the
film itself (`passages`), where that can be trusted.
"""
