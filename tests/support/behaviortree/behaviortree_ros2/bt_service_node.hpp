// The calls of behaviortree_ros2 and BehaviorTree.CPP that the recipe uses, without rclcpp: what a
// node is given comes from `inputs`, what it gives goes to `outputs`.
#pragma once

#include <any>
#include <map>
#include <string>
#include <vector>

namespace BT
{
enum class NodeStatus { IDLE = 0, RUNNING = 1, SUCCESS = 2, FAILURE = 3, SKIPPED = 4 };
enum ServiceNodeErrorCode {
  SERVICE_UNREACHABLE, SERVICE_TIMEOUT, INVALID_REQUEST, SERVICE_ABORTED
};
inline const char * toStr(const ServiceNodeErrorCode & error)
{
  return error == SERVICE_TIMEOUT ? "SERVICE_TIMEOUT" : "another";
}

struct NodeConfig {};
struct RosNodeParams {};
using PortsList = std::map<std::string, char>;

template<class T> std::pair<std::string, char> InputPort(std::string name, std::string)
{
  return {name, 'i'};
}
template<class T, class Default>
std::pair<std::string, char> InputPort(std::string name, const Default & value, std::string)
{
  [[maybe_unused]] T fits(value);
  return {name, 'i'};
}
template<class T> std::pair<std::string, char> OutputPort(std::string name, std::string)
{
  return {name, 'o'};
}

template<class ServiceT> class RosServiceNode
{
public:
  using Request = typename ServiceT::Request;
  using Response = typename ServiceT::Response;

  RosServiceNode(const std::string &, const NodeConfig &, const RosNodeParams &) {}
  virtual ~RosServiceNode() = default;
  static PortsList providedBasicPorts(PortsList more)
  {
    more.insert({"service_name", 'i'});
    return more;
  }
  virtual bool setRequest(typename Request::SharedPtr & request) = 0;
  virtual NodeStatus onResponseReceived(const typename Response::SharedPtr & response) = 0;
  virtual NodeStatus onFailure(ServiceNodeErrorCode) {return NodeStatus::FAILURE;}

  std::map<std::string, std::any> inputs, outputs;

protected:
  template<class T> bool getInput(const std::string & key, T & value) const
  {
    const auto found = inputs.find(key);
    if (found == inputs.end()) {return false;}
    value = std::any_cast<T>(found->second);
    return true;
  }
  template<class T> void setOutput(const std::string & key, const T & value)
  {
    outputs[key] = value;
  }
};
}  // namespace BT
