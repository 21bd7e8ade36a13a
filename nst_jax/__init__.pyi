from . import samples as samples
from .api import prepare as prepare, stylize as stylize
from .errors import InputError as InputError
from .losses import content_loss as content_loss, style_loss as style_loss, total_variation as total_variation
from .networks.load import load_network as load_network
from .networks.vgg import VGG as VGG, Network as Network, Options as Options, features as features
from .objectives import Objective as Objective, Targets as Targets, Weights as Weights, content_targets as content_targets, objective as objective, style_targets as style_targets
from .result import Stylization as Stylization
from .settings import PRESETS as PRESETS, Settings as Settings
from .solvers import Optimizer as Optimizer, minimize as minimize
from .statistics import gram as gram
