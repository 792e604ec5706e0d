"""Costs of any functional Keras model, and what its layers see."""

from typing import TYPE_CHECKING

from keras_cnns._lazy import lazy

if TYPE_CHECKING:  # for editors and type checkers, which do not see the lazy table
    from keras_cnns.analysis._correspondence import Correspondence as Correspondence
    from keras_cnns.analysis._correspondence import correspondence as correspondence
    from keras_cnns.analysis._filters import filters as filters
    from keras_cnns.analysis._receptive_field import ReceptiveField as ReceptiveField
    from keras_cnns.analysis._receptive_field import receptive_field as receptive_field
    from keras_cnns.analysis._receptive_field import receptive_fields as receptive_fields
    from keras_cnns.analysis.accounting import Account as Account
    from keras_cnns.analysis.accounting import LayerCost as LayerCost
    from keras_cnns.analysis.accounting import account as account
    from keras_cnns.analysis.activations import TopActivations as TopActivations
    from keras_cnns.analysis.activations import feature_maps as feature_maps
    from keras_cnns.analysis.activations import top_activations as top_activations
    from keras_cnns.analysis.class_maps import ClassMap as ClassMap
    from keras_cnns.analysis.class_maps import class_activation_map as class_activation_map
    from keras_cnns.analysis.class_maps import grad_cam as grad_cam
    from keras_cnns.analysis.deconvnet import DeconvNet as DeconvNet
    from keras_cnns.analysis.deconvnet import draw_projections as draw_projections
    from keras_cnns.analysis.embedding import embed as embed
    from keras_cnns.analysis.embedding import features as features
    from keras_cnns.analysis.invariance import InvarianceCurve as InvarianceCurve
    from keras_cnns.analysis.invariance import invariance_curve as invariance_curve
    from keras_cnns.analysis.invariance import transform_images as transform_images
    from keras_cnns.analysis.occlusion import OcclusionMap as OcclusionMap
    from keras_cnns.analysis.occlusion import occlusion_map as occlusion_map
    from keras_cnns.analysis.saliency_maps import Saliency as Saliency
    from keras_cnns.analysis.saliency_maps import guided as guided
    from keras_cnns.analysis.saliency_maps import saliency as saliency
    from keras_cnns.analysis.snapshots import FeatureSnapshots as FeatureSnapshots
    from keras_cnns.analysis.units import GradientFlow as GradientFlow
    from keras_cnns.analysis.units import UnitActivity as UnitActivity
    from keras_cnns.analysis.units import gradient_flow as gradient_flow
    from keras_cnns.analysis.units import unit_activity as unit_activity

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "Account": "accounting",
        "ClassMap": "class_maps",
        "Correspondence": "_correspondence",
        "DeconvNet": "deconvnet",
        "FeatureSnapshots": "snapshots",
        "GradientFlow": "units",
        "InvarianceCurve": "invariance",
        "LayerCost": "accounting",
        "OcclusionMap": "occlusion",
        "ReceptiveField": "_receptive_field",
        "Saliency": "saliency_maps",
        "TopActivations": "activations",
        "UnitActivity": "units",
        "account": "accounting",
        "class_activation_map": "class_maps",
        "correspondence": "_correspondence",
        "draw_projections": "deconvnet",
        "embed": "embedding",
        "feature_maps": "activations",
        "features": "embedding",
        "filters": "_filters",
        "grad_cam": "class_maps",
        "gradient_flow": "units",
        "guided": "saliency_maps",
        "invariance_curve": "invariance",
        "occlusion_map": "occlusion",
        "receptive_field": "_receptive_field",
        "receptive_fields": "_receptive_field",
        "saliency": "saliency_maps",
        "top_activations": "activations",
        "transform_images": "invariance",
        "unit_activity": "units",
    },
)
