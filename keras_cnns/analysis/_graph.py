from keras_cnns._graph import *  # noqa: F403
from keras_cnns._graph import check_layer, graph_of, run, walk  # noqa: F401
