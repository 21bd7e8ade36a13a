"""Films: frames in and out of video files, GIFs and folders, and animations of a run.

`reading` gives frames with their time stamps, `writing` takes them; both hold a few frames at a
time, whatever the film's length. They need PyAV, which carries FFmpeg (the extra `video`).
"""
