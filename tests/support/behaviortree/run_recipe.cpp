// Drives the nodes of the recipe with real requests and responses; prints what they make of them.
#include <iostream>

#include "chatspot_nodes.hpp"

using Status = BT::NodeStatus;

void print(const std::string & node, const BT::PortsList & ports)
{
  for (const auto & [name, kind] : ports) {
    std::cout << "port " << node << " " << name << " " << kind << "\n";
  }
}

RegionQuery::Response::SharedPtr reply(const std::string & value, float confidence, bool uncertain)
{
  auto response = std::make_shared<RegionQuery::Response>();
  response->status = RegionQuery::Response::OK;
  response->answers.resize(1);
  auto & answer = response->answers[0];
  answer.text = "door: " + value;
  answer.confidence = confidence;
  answer.uncertain = uncertain;
  answer.state.resize(1);
  answer.state[0].key = "door";
  answer.state[0].value = value;
  answer.regions.resize(1);
  answer.regions[0].position.header.frame_id = "camera";
  answer.regions[0].position.point.z = 1.5;
  return response;
}

void tell(const std::string & what, CheckState & node, Status status)
{
  std::cout << what << ": " << (status == Status::SUCCESS ? "SUCCESS" : "FAILURE") << ", "
            << std::any_cast<std::string>(node.outputs["message"]) << "\n";
}

int main()
{
  print("CheckState", CheckState::providedPorts());
  print("Act", Act::providedPorts());
  CheckState check("check", {}, {});
  auto asked = std::make_shared<RegionQuery::Request>();
  std::cout << "without a box: " << check.setRequest(asked) << "\n";
  check.inputs = {{"box", std::vector<double>{120, 80, 300, 400}},
    {"camera", std::string("front")}, {"attribute", std::string("door")},
    {"value", std::string("closed")}, {"min_confidence", 0.7}};
  std::cout << "asks: " << check.setRequest(asked) << " " << asked->camera << " " << asked->task
            << " " << asked->regions[0].points[0].x << " " << asked->regions[0].points[1].y << "\n";
  tell("closed", check, check.onResponseReceived(reply("closed", 0.9f, false)));
  const auto position = std::any_cast<PointStamped>(check.outputs["position"]);
  std::cout << "position: " << position.header.frame_id << " " << position.point.z << "\n";
  tell("open", check, check.onResponseReceived(reply("open", 0.9f, false)));
  tell("doubtful", check, check.onResponseReceived(reply("closed", 0.5f, false)));
  tell("uncertain", check, check.onResponseReceived(reply("closed", 0.9f, true)));
  check.inputs["attribute"] = std::string("plug");
  tell("untold", check, check.onResponseReceived(reply("closed", 0.9f, false)));
  auto busy = std::make_shared<RegionQuery::Response>();
  busy->status = RegionQuery::Response::BUSY;
  busy->message = "too much waits";
  tell("busy", check, check.onResponseReceived(busy));
  tell("late", check, check.onFailure(BT::SERVICE_TIMEOUT));

  Act act("act", {}, {});
  act.inputs = {{"action", std::string("close")}, {"target", std::string("fridge")},
    {"position", position}};
  auto step = std::make_shared<KitchenAct::Request>();
  std::cout << "acts: " << act.setRequest(step) << " " << step->step.action << " "
            << step->step.target << " " << step->position.point.z << "\n";
  auto report = std::make_shared<KitchenAct::Response>();
  report->done = true;
  std::cout << "done: " << (act.onResponseReceived(report) == Status::SUCCESS) << "\n";
}
