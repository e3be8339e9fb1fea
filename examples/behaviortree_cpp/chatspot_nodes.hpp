// Nodes of BehaviorTree.CPP 4 (with behaviortree_ros2) for the region query node and the kitchen.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <behaviortree_ros2/bt_service_node.hpp>
#include <chatspot_ros/srv/kitchen_act.hpp>
#include <chatspot_ros/srv/region_query.hpp>
#include <geometry_msgs/msg/point_stamped.hpp>

using chatspot_ros::srv::KitchenAct;
using chatspot_ros::srv::RegionQuery;
using geometry_msgs::msg::PointStamped;

// SUCCESS: the thing in the box is surely in the wanted state. FAILURE: it is in another one, the
// answer is not sure, or none came; `message` says which. Register it with a server_timeout longer
// than the node's default_timeout (30 s), so that its own reply comes first.
class CheckState : public BT::RosServiceNode<RegionQuery>
{
public:
  CheckState(
    const std::string & name, const BT::NodeConfig & config, const BT::RosNodeParams & params)
  : BT::RosServiceNode<RegionQuery>(name, config, params) {}

  static BT::PortsList providedPorts()
  {
    return providedBasicPorts({
        BT::InputPort<std::string>("camera", "", "name of the camera; empty: the first"),
        BT::InputPort<std::vector<double>>("box", "x1;y1;x2;y2 in pixels of the full image"),
        BT::InputPort<std::string>("attribute", "such as door"),
        BT::InputPort<std::string>("value", "such as closed"),
        BT::InputPort<double>("min_confidence", 0.7, "in [0, 1]"),
        BT::OutputPort<PointStamped>("position", "where it is; empty frame_id: not known"),
        BT::OutputPort<std::string>("message", "what was seen, or the problem")});
  }

  bool setRequest(RegionQuery::Request::SharedPtr & request) override
  {
    std::vector<double> box;
    if (!getInput("box", box) || box.size() != 4) {
      return false;
    }
    getInput("camera", request->camera);
    request->question = "What is the state of this?";
    request->task = "state";
    request->regions.resize(1);
    request->regions[0].points.resize(2);
    for (std::size_t corner = 0; corner < 2; ++corner) {
      request->regions[0].points[corner].x = static_cast<float>(box[2 * corner]);
      request->regions[0].points[corner].y = static_cast<float>(box[2 * corner + 1]);
    }
    return true;
  }

  BT::NodeStatus onResponseReceived(const RegionQuery::Response::SharedPtr & response) override
  {
    if (response->status != RegionQuery::Response::OK || response->answers.empty()) {
      return fail(response->message);
    }
    const auto & answer = response->answers[0];
    std::string attribute, value;
    double min_confidence = 0.7;
    getInput("attribute", attribute);
    getInput("value", value);
    getInput("min_confidence", min_confidence);
    if (!answer.regions.empty()) {
      setOutput("position", answer.regions[0].position);
    }
    if (answer.uncertain || answer.truncated || answer.confidence < min_confidence) {
      return fail("not sure of: " + answer.text);
    }
    for (const auto & told : answer.state) {
      if (told.key == attribute) {
        setOutput("message", answer.text);
        return told.value == value ? BT::NodeStatus::SUCCESS : BT::NodeStatus::FAILURE;
      }
    }
    return fail("it does not tell " + attribute + ": " + answer.text);
  }

  BT::NodeStatus onFailure(BT::ServiceNodeErrorCode error) override
  {
    return fail(BT::toStr(error));
  }

private:
  BT::NodeStatus fail(const std::string & why)
  {
    setOutput("message", why);
    return BT::NodeStatus::FAILURE;
  }
};

// Does one step where its target is. Your robot has an interface of its own here.
class Act : public BT::RosServiceNode<KitchenAct>
{
public:
  Act(const std::string & name, const BT::NodeConfig & config, const BT::RosNodeParams & params)
  : BT::RosServiceNode<KitchenAct>(name, config, params) {}

  static BT::PortsList providedPorts()
  {
    return providedBasicPorts({
        BT::InputPort<std::string>("action", "a skill, such as close"),
        BT::InputPort<std::string>("target", "the name of a thing, such as fridge"),
        BT::InputPort<PointStamped>("position", "where it is, as CheckState gives it"),
        BT::OutputPort<std::string>("message", "the effect, or the problem")});
  }

  bool setRequest(KitchenAct::Request::SharedPtr & request) override
  {
    getInput("position", request->position);
    return getInput("action", request->step.action) && getInput("target", request->step.target);
  }

  BT::NodeStatus onResponseReceived(const KitchenAct::Response::SharedPtr & response) override
  {
    setOutput("message", response->message);
    return response->done ? BT::NodeStatus::SUCCESS : BT::NodeStatus::FAILURE;
  }
};
