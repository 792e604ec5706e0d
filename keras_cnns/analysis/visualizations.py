"""The kinds of visualizations by name. Imports the standard library only."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Visualization:
    """A kind of visualization.

    Attributes:
        title: heading in a report.
        shows: what its plot shows, in full sentences.
        needs: "nothing" but the model, "images", or images with "labels".
    """

    title: str
    shows: str
    needs: Literal["nothing", "images", "labels"] = "images"


VISUALIZATIONS = {
    "filters": Visualization("Filters", "The filters of a convolution.", "nothing"),
    "features": Visualization("Feature maps", "The output of a layer for the first image, one tile per channel."),
    "deconv": Visualization(
        "What excites single units",
        "The images that excite units of a layer most, cut to what the units see, beside the activation projected "
        "back to the pixels by a deconvnet. Zeiler and Fergus 2014, figure 2.",
    ),
    "cam": Visualization(
        "Where it looks",
        "Where the evidence for the class lies: the class activation map, whose mean plus the bias is the logit; for "
        "networks that do not end with a global average pool, Grad-CAM.",
    ),
    "occlusion": Visualization(
        "Which parts it needs",
        "What the network predicts with a part of the image hidden: the probability of the class, and the predicted "
        "class. Zeiler and Fergus 2014, figure 7.",
    ),
    "saliency": Visualization(
        "Which pixels it reacts to",
        "Which pixels the score of the class is most sensitive to: its gradient. Simonyan et al. 2013.",
    ),
    "guided": Visualization(
        "Guided gradient",
        "The gradient of the class's score; each ReLU passes only its positive part. Springenberg et al. 2015.",
    ),
    "invariance": Visualization(
        "What happens when the image moves",
        "How much features of the first and the last layer and the probability of the class change as the image is "
        "shifted, enlarged or rotated. Zeiler and Fergus 2014, figure 5.",
    ),
    "activity": Visualization(
        "Activity of the units", "Which units are never above zero for these images, and how sparse the layers are."
    ),
    "gradients": Visualization(
        "Gradients", "The norm of the loss's gradient with respect to the weights of each layer.", "labels"
    ),
    "embedding": Visualization(
        "Images by their features",
        "The images as points: the last layer's features, in the two directions of largest variance.",
        "labels",
    ),
}
