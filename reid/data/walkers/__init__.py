"""Drawn pedestrians: the built-in data, because no pictures of real people may be shipped with a program.

domains   the nine places, as priors over everything below
clothes   what somebody wears                    textures   painting it
figure    a body that walks and turns            tubes      the one primitive everything is drawn with
plates    backgrounds                            camera     light, sensor, JPEG
scene     one picture                            trees      which pictures make a data set, and drawing them on all cores
shift     a change beyond what sources have
sheet     a contact sheet                        floor      what pixels alone can tell
"""
